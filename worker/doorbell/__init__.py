"""The doorbell: the NOTIFY that wakes a sleeping worker; writers ring it only while someone sleeps."""
