"""Figures and pages; nothing else imports matplotlib."""
