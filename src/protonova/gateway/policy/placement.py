"""Rules of the Placement API."""

from __future__ import annotations

from protonova.gateway.policy.table import Row

ADMIN_OR_SERVICE = "rule:admin_or_service_api"
ADMIN_READER_OR_SERVICE = "rule:admin_or_project_reader_or_service_api"
SERVICE_ONLY = "rule:service_api"

# Rules the others are written with.
BASE = (
    Row("admin_api", "role:admin", "Administrators."),
    Row("service_api", "role:service", "Other OpenStack services."),
    Row("admin_or_service_api", "role:admin or role:service", "Administrators and other OpenStack services."),
    Row(
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "Readers in the project asked about.",
    ),
    Row(
        "admin_or_project_reader_or_service_api",
        "role:admin or rule:project_reader_api or role:service",
        "Administrators, readers in the project asked about, and other OpenStack services.",
    ),
)

ROWS = (
    Row(
        "placement:resource_providers:list",
        ADMIN_OR_SERVICE,
        "List resource providers.",
        "GET /resource_providers",
    ),
    Row(
        "placement:resource_providers:create",
        ADMIN_OR_SERVICE,
        "Create a resource provider.",
        "POST /resource_providers",
    ),
    Row(
        "placement:resource_providers:show",
        ADMIN_OR_SERVICE,
        "Show a resource provider.",
        "GET /resource_providers/{uuid}",
    ),
    Row(
        "placement:resource_providers:update",
        ADMIN_OR_SERVICE,
        "Rename a resource provider or move it in its tree.",
        "PUT /resource_providers/{uuid}",
    ),
    Row(
        "placement:resource_providers:delete",
        ADMIN_OR_SERVICE,
        "Delete a resource provider.",
        "DELETE /resource_providers/{uuid}",
    ),
    Row(
        "placement:resource_classes:list", ADMIN_OR_SERVICE, "List resource classes.", "GET /resource_classes"
    ),
    Row(
        "placement:resource_classes:create",
        ADMIN_OR_SERVICE,
        "Create a resource class.",
        "POST /resource_classes",
    ),
    Row(
        "placement:resource_classes:show",
        ADMIN_OR_SERVICE,
        "Show a resource class.",
        "GET /resource_classes/{name}",
    ),
    Row(
        "placement:resource_classes:update",
        ADMIN_OR_SERVICE,
        "Ensure or rename a resource class.",
        "PUT /resource_classes/{name}",
    ),
    Row(
        "placement:resource_classes:delete",
        ADMIN_OR_SERVICE,
        "Delete a resource class.",
        "DELETE /resource_classes/{name}",
    ),
    Row(
        "placement:resource_providers:inventories:list",
        ADMIN_OR_SERVICE,
        "List a provider's inventories.",
        "GET /resource_providers/{uuid}/inventories",
    ),
    Row(
        "placement:resource_providers:inventories:create",
        ADMIN_OR_SERVICE,
        "Add an inventory to a provider.",
        "POST /resource_providers/{uuid}/inventories",
    ),
    Row(
        "placement:resource_providers:inventories:show",
        ADMIN_OR_SERVICE,
        "Show an inventory of a provider.",
        "GET /resource_providers/{uuid}/inventories/{resource_class}",
    ),
    Row(
        "placement:resource_providers:inventories:update",
        ADMIN_OR_SERVICE,
        "Change inventories of a provider.",
        "PUT /resource_providers/{uuid}/inventories",
        "PUT /resource_providers/{uuid}/inventories/{resource_class}",
    ),
    Row(
        "placement:resource_providers:inventories:delete",
        ADMIN_OR_SERVICE,
        "Delete inventories of a provider.",
        "DELETE /resource_providers/{uuid}/inventories",
        "DELETE /resource_providers/{uuid}/inventories/{resource_class}",
    ),
    Row(
        "placement:resource_providers:aggregates:list",
        ADMIN_OR_SERVICE,
        "List a provider's aggregates.",
        "GET /resource_providers/{uuid}/aggregates",
    ),
    Row(
        "placement:resource_providers:aggregates:update",
        ADMIN_OR_SERVICE,
        "Set a provider's aggregates.",
        "PUT /resource_providers/{uuid}/aggregates",
    ),
    Row(
        "placement:resource_providers:usages",
        ADMIN_OR_SERVICE,
        "See what is used of a provider.",
        "GET /resource_providers/{uuid}/usages",
    ),
    Row("placement:usages", ADMIN_READER_OR_SERVICE, "See what a project uses.", "GET /usages"),
    Row("placement:traits:list", ADMIN_OR_SERVICE, "List traits.", "GET /traits"),
    Row("placement:traits:show", ADMIN_OR_SERVICE, "See whether a trait exists.", "GET /traits/{name}"),
    Row("placement:traits:update", ADMIN_OR_SERVICE, "Create a trait.", "PUT /traits/{name}"),
    Row("placement:traits:delete", ADMIN_OR_SERVICE, "Delete a trait.", "DELETE /traits/{name}"),
    Row(
        "placement:resource_providers:traits:list",
        ADMIN_OR_SERVICE,
        "List a provider's traits.",
        "GET /resource_providers/{uuid}/traits",
    ),
    Row(
        "placement:resource_providers:traits:update",
        ADMIN_OR_SERVICE,
        "Set a provider's traits.",
        "PUT /resource_providers/{uuid}/traits",
    ),
    Row(
        "placement:resource_providers:traits:delete",
        ADMIN_OR_SERVICE,
        "Remove all traits of a provider.",
        "DELETE /resource_providers/{uuid}/traits",
    ),
    Row(
        "placement:allocations:manage",
        ADMIN_OR_SERVICE,
        "Change allocations of several consumers at once.",
        "POST /allocations",
    ),
    Row(
        "placement:allocations:list",
        ADMIN_OR_SERVICE,
        "See what a consumer holds.",
        "GET /allocations/{consumer_uuid}",
    ),
    Row(
        "placement:allocations:update",
        ADMIN_OR_SERVICE,
        "Set what a consumer holds.",
        "PUT /allocations/{consumer_uuid}",
    ),
    Row(
        "placement:allocations:delete",
        ADMIN_OR_SERVICE,
        "Remove what a consumer holds.",
        "DELETE /allocations/{consumer_uuid}",
    ),
    Row(
        "placement:resource_providers:allocations:list",
        ADMIN_OR_SERVICE,
        "See who holds what of a provider.",
        "GET /resource_providers/{uuid}/allocations",
    ),
    Row(
        "placement:allocation_candidates:list",
        ADMIN_OR_SERVICE,
        "Ask where a request for resources would fit.",
        "GET /allocation_candidates",
    ),
    Row(
        "placement:reshaper:reshape",
        SERVICE_ONLY,
        "Move inventories and allocations between providers.",
        "POST /reshaper",
    ),
)
