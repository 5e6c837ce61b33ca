"""From resources to the planner's problem, and from its plan to text."""
