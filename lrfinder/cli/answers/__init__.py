"""What commands say: results, failures, hints, exit statuses."""
