"""Making short trainings: in this process or in others, within their time."""
