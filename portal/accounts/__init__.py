"""How a person gets in: what django-allauth leaves to us, and the page on which one keeps one's account."""
