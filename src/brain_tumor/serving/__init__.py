"""What uses results and trained models: command line, report, audit."""
