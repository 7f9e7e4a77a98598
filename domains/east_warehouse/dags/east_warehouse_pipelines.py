"""The Airflow DAGs of this domain, from its contracts. A DAG of your own goes into a file beside this one."""

from mesh_platform.dags import domain_dags

globals().update(domain_dags(__file__))
