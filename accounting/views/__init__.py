"""The pages of projects, requests and reports. Each: fetch within sight, bind the form, call one action, redirect."""
