-- One database for each service, so that none reads another's.
CREATE DATABASE poterne_edge;
CREATE DATABASE poterne_registry;
