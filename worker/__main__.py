"""`python -m worker` is the same program as `hearken`, for platforms that install the requirements alone."""

from worker.cli import main

if __name__ == "__main__":
    main()
