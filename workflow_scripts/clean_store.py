"""Remove the measurements from the store from which no table of results was written."""

import time

from vlmflow.jobs.job import logged
from vlmflow.store.measurements import store_folder
from vlmflow.store.used import clean

with logged(snakemake.log[0]):
    store = store_folder()
    done = clean(store, time.time())
    print(f"{store}: {done.kept} measurements kept, {done.removed} removed, {done.size / 1e6:.1f} MB freed")
