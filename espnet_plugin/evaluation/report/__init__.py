"""The pages about an experiment: RESULTS.md, and report.html, which holds everything it shows."""
