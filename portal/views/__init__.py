"""Pages of people and places. Each view: fetch within sight, bind the form, call one action, redirect."""
