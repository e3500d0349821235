"""Notifications for people without a live device."""
