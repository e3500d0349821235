"""What every long-running process uses: watchdog, rate-limited logging, locked files."""
