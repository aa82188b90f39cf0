-- One for each owner; the services make the tables.
CREATE DATABASE api;
CREATE DATABASE placement;
CREATE DATABASE cell1;
