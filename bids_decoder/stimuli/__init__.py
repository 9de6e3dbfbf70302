"""Images, encoders and feature tables: what the decoder predicts."""
