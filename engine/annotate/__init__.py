"""Pictures and clips to a prepared folder, from which trainers learn: docs/dataset.md."""
