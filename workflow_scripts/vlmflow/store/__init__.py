"""The store: measurements that are kept, each addressed by everything that it depends on."""
