"""SAM 2: its modules, the exact fast decoder, masks of prompts."""
