// Package contract lists what the edge serves over REST by annotations of its
// contracts. Start reading at Files.
package contract

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Files returns the files whose services have REST paths, in the order in which
// they are documented.
func Files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		edgev1.File_poterne_edge_v1_openai_proto,
		edgev1.File_poterne_edge_v1_responses_proto,
		edgev1.File_poterne_edge_v1_messages_proto,
		edgev1.File_poterne_edge_v1_moderations_proto,
		edgev1.File_poterne_edge_v1_files_proto,
		edgev1.File_poterne_edge_v1_batches_proto,
		edgev1.File_poterne_edge_v1_admin_proto,
		edgev1.File_poterne_edge_v1_feedback_proto,
		edgev1.File_poterne_edge_v1_serviceaccounts_proto,
		edgev1.File_poterne_edge_v1_policies_proto,
		edgev1.File_poterne_edge_v1_audit_proto,
		edgev1.File_poterne_edge_v1_auditcontent_proto,
		edgev1.File_poterne_edge_v1_sessions_proto,
		edgev1.File_poterne_edge_v1_bans_proto,
		edgev1.File_poterne_edge_v1_usage_proto,
		edgev1.File_poterne_edge_v1_webhooks_proto,
		edgev1.File_poterne_edge_v1_cache_proto,
		edgev1.File_poterne_edge_v1_limits_proto,
		edgev1.File_poterne_edge_v1_requests_proto,
		edgev1.File_poterne_edge_v1_routes_proto,
		edgev1.File_poterne_edge_v1_conversations_proto,
		searchv1.File_poterne_search_v1_search_proto,
		registryv1.File_poterne_registry_v1_registry_proto,
		registryv1.File_poterne_registry_v1_artifacts_proto,
	}
}
