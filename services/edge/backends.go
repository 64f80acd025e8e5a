package edge

import (
	"fmt"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/discovery/resolver"
	"github.com/poterne/poterne/pkg/grpcclient"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// backends are the connections to the other services.
type backends struct{ inference, search, registry grpc.ClientConnInterface }

// dial opens the connections, which connect when they are first used. Every
// call on them carries the caller's identity.
func (s *Service) dial() error {
	var err error
	if s.identity, err = assertion.Open(assertion.Options{
		Service: ServiceName, Config: s.cfg.Identity, Clock: s.opts.clock, Telemetry: s.opts.telemetry,
	}); err != nil {
		return err
	}
	for _, b := range []struct {
		name       string
		cfg        grpcclient.Config
		given      grpc.ClientConnInterface
		idempotent []string
		conn       *grpc.ClientConnInterface
		further    []string // where what is signed for it is good, too
	}{
		{InferenceName, s.cfg.Inference, s.opts.inference, inferenceReads(), &s.backends.inference, nil},
		{SearchName, s.cfg.Search, s.opts.search, searchReads(), &s.backends.search, []string{assertion.Narrowed(InferenceName, purposeRetrieval)}},
		{RegistryName, s.cfg.Registry, s.opts.registry, registryAgain(), &s.backends.registry, nil},
	} {
		opts := []grpcclient.Option{
			s.identity.Issue(b.name, b.further...),
			grpcclient.WithIdempotent(b.idempotent...),
		}
		if b.name == InferenceName {
			opts = append(opts, withVerdicts(), grpcclient.WithDirect(
				inferencev1.InferenceService_Invoke_FullMethodName, inferencev1.InferenceService_Embed_FullMethodName,
				inferencev1.InferenceService_Rerank_FullMethodName,
				inferencev1.InferenceService_InvokeStream_FullMethodName, inferencev1.InferenceService_InferTensorsStream_FullMethodName,
			))
		}
		if b.given != nil {
			*b.conn = grpcclient.Intercept(b.name, b.given, b.cfg, s.opts.telemetry, opts...)
			continue
		}
		opts = append(opts, grpcclient.WithResolvers(resolver.New(s.discovery, s.opts.telemetry.Logger)))
		conn, err := grpcclient.Dial(resolver.Target(b.name), b.cfg, s.opts.telemetry, opts...)
		if err != nil {
			return fmt.Errorf("dial %s: %w", b.name, err)
		}
		s.closers = append(s.closers, conn.Close)
		*b.conn = conn
	}
	return nil
}

// purposeRetrieval is what search needs of the inference service on a caller's
// behalf: an assertion for search is good there for that, and for nothing else.
const purposeRetrieval = "retrieval"

// identityEnds: the edge calls services, and none calls it.
func identityEnds() assertion.Ends { return assertion.Ends{Sends: true} }

// What may be asked again when a connection fails. Invoke, InferTensors, their
// streams, Embed and Rerank are not here: packages openai and openinference ask them
// again by themselves, since a request that is larger than gRPC's buffer for retries
// must be too, and since routes say how often: two layers would multiply attempts.

func inferenceReads() []string {
	return []string{
		inferencev1.InferenceService_CountTokens_FullMethodName,
		inferencev1.InferenceService_ResolveServing_FullMethodName,
		inferencev1.InferenceService_GetTensorModel_FullMethodName,
		inferencev1.InferenceService_ListServedModels_FullMethodName,
		inferencev1.InferenceService_GetServedModel_FullMethodName,
		inferencev1.InferenceService_ListWorkers_FullMethodName,
	}
}

func searchReads() []string {
	return []string{
		searchv1.SearchService_GetCollection_FullMethodName,
		searchv1.SearchService_ListCollections_FullMethodName,
		searchv1.SearchService_GetDocument_FullMethodName,
		searchv1.SearchService_ListDocuments_FullMethodName,
		searchv1.SearchService_Search_FullMethodName,
		searchv1.SearchService_GetEmbeddingGeneration_FullMethodName,
		searchv1.SearchService_ListEmbeddingGenerations_FullMethodName,
		searchv1.SearchService_BatchUpsertDocuments_FullMethodName, // by id
	}
}

// registryAgain are the calls that may be made again.
func registryAgain() []string {
	return []string{
		registryv1.RegistryService_GetModel_FullMethodName,
		registryv1.RegistryService_ListModels_FullMethodName,
		registryv1.RegistryService_GetVersion_FullMethodName,
		registryv1.RegistryService_ListVersions_FullMethodName,
		registryv1.RegistryService_GetVariant_FullMethodName,
		registryv1.RegistryService_ListVariants_FullMethodName,
		registryv1.RegistryService_GetAlias_FullMethodName,
		registryv1.RegistryService_ListAliases_FullMethodName,
		registryv1.RegistryService_GetSplit_FullMethodName,
		registryv1.RegistryService_GetResults_FullMethodName,
		registryv1.RegistryService_GetExperimentResults_FullMethodName,
		registryv1.RegistryService_ListFeedback_FullMethodName,
		registryv1.RegistryService_GetPrompt_FullMethodName,
		registryv1.RegistryService_CreateVariant_FullMethodName,  // the same again changes nothing
		registryv1.RegistryService_RecordFeedback_FullMethodName, // the same
		registryv1.RegistryService_ListChanges_FullMethodName,
		registryv1.RegistryService_ResolveVersion_FullMethodName,
		registryv1.RegistryService_GetWebhook_FullMethodName,
		registryv1.RegistryService_ListWebhooks_FullMethodName,
		registryv1.RegistryService_ListDeliveries_FullMethodName,
		registryv1.RegistryService_ListAliasHistory_FullMethodName,
		registryv1.RegistryService_GetAliasChange_FullMethodName,
		registryv1.RegistryService_ListAliasChanges_FullMethodName,
		registryv1.RegistryService_GetAliasProtection_FullMethodName,
		registryv1.RegistryService_ListSplitHistory_FullMethodName,
		registryv1.RegistryService_CreatePromptVersion_FullMethodName,
		registryv1.RegistryService_GetPromptVersion_FullMethodName,
		registryv1.RegistryService_ListPromptVersions_FullMethodName,
		registryv1.RegistryService_ListPrompts_FullMethodName,
		registryv1.RegistryService_ListPromptAliasHistory_FullMethodName,
		registryv1.RegistryService_RenderPrompt_FullMethodName,
		registryv1.ArtifactService_GetUpload_FullMethodName,
		registryv1.ArtifactService_ListUploads_FullMethodName,
		registryv1.ArtifactService_ListUploadParts_FullMethodName,
		registryv1.ArtifactService_CompleteUpload_FullMethodName, // again: the artifact
		registryv1.ArtifactService_GetArtifact_FullMethodName,
		registryv1.ArtifactService_ListArtifacts_FullMethodName,
	}
}
