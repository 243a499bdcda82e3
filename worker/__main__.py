"""`python -m worker` is the same program as `hearken`: a platform that installs requirements.txt alone has only this."""

from worker.cli import main

if __name__ == "__main__":
    main()
