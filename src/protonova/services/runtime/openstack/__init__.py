"""Adapters to the services a compute cloud stands on: images, networks, volumes, over their public REST.

Whoever runs them (the companions on one machine, Glance, Neutron and Cinder in production) owns the facts;
here are only calls, plain records and typed errors. All calls are made as our own service user, so that an
operation outlives the token of the user who asked for it; who may use what is decided from the records.
"""
