"""The questions that commands ask of the projections. Nothing here imports eventsourcing, tuf or cryptography."""
