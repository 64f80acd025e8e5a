package rpc

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/query"
	"github.com/poterne/poterne/services/search/internal/store"
)

func collectionToProto(c store.Collection) *searchv1.Collection {
	return &searchv1.Collection{
		Id: c.ID, DisplayName: c.DisplayName, EmbeddingModel: c.EmbeddingModel, EmbeddingDigest: c.EmbeddingDigest,
		DocumentCount: int32of(c.DocumentCount), ChunkCount: int32of(c.ChunkCount), Generation: c.Generation,
		EmbeddingGeneration: int32of(c.EmbeddingGeneration), BuildingEmbeddingGeneration: int32of(c.BuildingGeneration),
		Fusion: c.Fusion, Weights: weightsToProto(c.Weights), VectorMetric: c.VectorMetric,
		Chunking:   chunkingToProto(c.Chunking),
		CreateTime: timestamppb.New(c.CreateTime), UpdateTime: timestamppb.New(c.UpdateTime),
	}
}

func int32of(n int) int32 { return int32(min(n, math.MaxInt32)) }

func documentToProto(d store.Document) (*searchv1.Document, error) {
	metadata, err := metadataToProto(d.Metadata)
	if err != nil {
		return nil, err
	}
	out := &searchv1.Document{
		Id: d.ID, Title: d.Title, Text: d.Text, Metadata: metadata, ContentHash: d.ContentHash,
		CreateTime: timestamppb.New(d.CreateTime), UpdateTime: timestamppb.New(d.UpdateTime),
	}
	if !d.ExpireTime.IsZero() {
		out.ExpireTime = timestamppb.New(d.ExpireTime)
	}
	if d.HasACL {
		out.Acl = &searchv1.AccessList{Principals: d.ACL}
	}
	return out, nil
}

func metadataToProto(raw []byte) (*structpb.Struct, error) {
	out := &structpb.Struct{}
	if err := protojson.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	return out, nil
}

func inputOf(d *searchv1.Document) ingest.Input {
	in := ingest.Input{
		ID: d.GetId(), Title: d.GetTitle(), Text: d.GetText(), Metadata: d.GetMetadata().AsMap(),
		ACL: d.GetAcl().GetPrincipals(), HasACL: d.GetAcl() != nil,
		Content: d.GetContent(), ContentType: d.GetContentType(),
	}
	if d.GetExpireTime() != nil {
		t := d.GetExpireTime().AsTime()
		in.ExpireTime = &t
	}
	if d.GetTtl() != nil {
		ttl := d.GetTtl().AsDuration()
		in.TTL = &ttl
	}
	return in
}

func resultToProto(i int, r ingest.Result) *searchv1.DocumentResult {
	out := &searchv1.DocumentResult{
		Id: strings.ToValidUTF8(r.ID, "\ufffd"), Status: string(r.Status), ChunkCount: int32of(r.Chunks),
	}
	if r.Err != nil {
		out.Error = &searchv1.DocumentError{Code: string(r.Err.Reason), Message: r.Err.Message}
		if r.Err.Field != "" {
			out.Error.Field = fmt.Sprintf("documents[%d].%s", i, r.Err.Field)
			out.Error.Message = out.Error.Field + " " + r.Err.Message
		}
	}
	return out
}

func hitToProto(h query.Hit, a query.Answer, explain bool) (*searchv1.Hit, error) {
	metadata, err := metadataToProto(h.Passage.Metadata)
	if err != nil {
		return nil, err
	}
	out := &searchv1.Hit{
		DocumentId: h.Passage.DocumentID, ChunkId: h.ID, Score: h.Score, Text: h.Passage.Chunk.Text,
		Highlights: h.Highlights, Metadata: metadata, Title: h.Passage.Title,
		StartOffset: int32of(h.Passage.Chunk.Start), EndOffset: int32of(h.Passage.Chunk.End),
		NearDuplicates: nearDuplicatesToProto(h.NearDuplicates), Headings: h.Passage.Chunk.Headings,
	}
	if h.Reranked != nil {
		out.RelevanceScore = &h.Reranked.Score
	}
	if !explain {
		return out, nil
	}
	out.Explanation = &searchv1.Explanation{Fusion: string(a.Fusion)}
	explainArrangement(out.Explanation, h)
	for i, p := range h.Parts {
		out.Explanation.Legs = append(out.Explanation.Legs, &searchv1.LegExplanation{
			Leg: a.Legs[i], Rank: int32of(p.Rank), Score: p.Score, NormalizedScore: p.Normalized, Weight: p.Weight,
		})
	}
	return out, nil
}
