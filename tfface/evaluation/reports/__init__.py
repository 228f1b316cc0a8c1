"""Reports: tables, plots, HTML pages, comparison with published results."""
