"""Where the servers are: at their usual ports on this machine, or where the environment says."""

from __future__ import annotations

import os

URLS = {
    "postgresql": os.environ.get("RUSTALCHEMY_PG_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": os.environ.get("RUSTALCHEMY_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
