"""Runs the SQL statements of a JSON file in a ClickHouse that lasts as long, and prints their results as JSON."""

import json
import sys

from chdb import session

database = session.Session()
with open(sys.argv[1]) as file:
    results = [str(database.query(statement, "TSV")) for statement in json.load(file)]
print(json.dumps(results))
