"""What happens when parts are stopped, killed or broken."""
