"""Files in and out: job files, results, prices."""
