package server

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/prompt"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// servedPrompt is the alias that a prompt without a version means.
const servedPrompt = "production"

// CreatePromptVersion implements registryv1.RegistryServiceServer.
func (s *Server) CreatePromptVersion(ctx context.Context, req *registryv1.CreatePromptVersionRequest) (*registryv1.CreatePromptVersionResponse, error) {
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	if err := prompt.Check(req.GetSpec()); err != nil {
		return nil, err
	}
	d, err := prompt.Digest(req.GetSpec())
	if err != nil {
		return nil, err
	}
	v := &registryv1.PromptVersion{Prompt: req.GetPrompt(), Digest: d, Spec: req.GetSpec(), Description: req.GetDescription()}
	if req.GetValidateOnly() {
		there, err := s.store.GetPromptVersion(ctx, req.GetPrompt(), store.VersionKey{Digest: d}, "")
		switch {
		case apierr.ReasonOf(err) == apierr.NotFound:
			return &registryv1.CreatePromptVersionResponse{Version: v}, nil
		case err != nil:
			return nil, err
		}
		return &registryv1.CreatePromptVersionResponse{Version: there}, nil
	}
	v, err = s.store.CreatePromptVersion(ctx, actor(ctx), v)
	if err != nil {
		return nil, err
	}
	return &registryv1.CreatePromptVersionResponse{Version: v}, nil
}

// GetPromptVersion implements registryv1.RegistryServiceServer.
func (s *Server) GetPromptVersion(ctx context.Context, req *registryv1.GetPromptVersionRequest) (*registryv1.GetPromptVersionResponse, error) {
	v, err := s.promptVersion(ctx, req.GetPrompt(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetPromptVersionResponse{Version: v}, nil
}

// promptVersion returns a version by its number, digest or alias: what names no
// version by itself is an alias, as in references.
func (s *Server) promptVersion(ctx context.Context, name, ref string) (*registryv1.PromptVersion, error) {
	key, err := versionKey(ref)
	if err != nil {
		return s.store.GetPromptVersion(ctx, name, store.VersionKey{}, ref)
	}
	return s.store.GetPromptVersion(ctx, name, key, "")
}

// ListPromptVersions implements registryv1.RegistryServiceServer.
func (s *Server) ListPromptVersions(ctx context.Context, req *registryv1.ListPromptVersionsRequest) (*registryv1.ListPromptVersionsResponse, error) {
	p := pager[*registryv1.PromptVersion]{
		scope: "prompt-versions/" + req.GetPrompt(),
		key:   func(v *registryv1.PromptVersion) string { return strconv.Itoa(int(v.GetNumber())) },
		list: func(after string, limit int) ([]*registryv1.PromptVersion, error) {
			before, err := beforeRevision(after)
			if err != nil {
				return nil, err
			}
			return s.store.ListPromptVersions(ctx, req.GetPrompt(), before, limit)
		},
	}
	versions, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListPromptVersionsResponse{Versions: versions, NextPageToken: next}, nil
}

// GetPrompt implements registryv1.RegistryServiceServer.
func (s *Server) GetPrompt(ctx context.Context, req *registryv1.GetPromptRequest) (*registryv1.GetPromptResponse, error) {
	p, err := s.store.GetPrompt(ctx, req.GetPrompt())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetPromptResponse{Prompt: p}, nil
}

// ListPrompts implements registryv1.RegistryServiceServer.
func (s *Server) ListPrompts(ctx context.Context, req *registryv1.ListPromptsRequest) (*registryv1.ListPromptsResponse, error) {
	p := pager[*registryv1.Prompt]{
		scope: "prompts", key: (*registryv1.Prompt).GetName,
		list: func(after string, limit int) ([]*registryv1.Prompt, error) {
			return s.store.ListPrompts(ctx, after, limit)
		},
	}
	prompts, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListPromptsResponse{Prompts: prompts, NextPageToken: next}, nil
}

// SetPromptAlias implements registryv1.RegistryServiceServer.
func (s *Server) SetPromptAlias(ctx context.Context, req *registryv1.SetPromptAliasRequest) (*registryv1.SetPromptAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	a, err := s.store.ChangePromptAlias(ctx, actor(ctx), store.AliasWish{
		Model: req.GetPrompt(), Alias: req.GetAlias(), Version: req.GetVersion(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.SetPromptAliasResponse{Alias: a}, nil
}

// DeletePromptAlias implements registryv1.RegistryServiceServer.
func (s *Server) DeletePromptAlias(ctx context.Context, req *registryv1.DeletePromptAliasRequest) (*registryv1.DeletePromptAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	_, err := s.store.ChangePromptAlias(ctx, actor(ctx), store.AliasWish{
		Model: req.GetPrompt(), Alias: req.GetAlias(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.DeletePromptAliasResponse{}, nil
}

// ListPromptAliasHistory implements registryv1.RegistryServiceServer.
func (s *Server) ListPromptAliasHistory(ctx context.Context, req *registryv1.ListPromptAliasHistoryRequest) (*registryv1.ListPromptAliasHistoryResponse, error) {
	p := pager[*registryv1.AliasState]{
		scope: "prompt-history/" + req.GetPrompt() + "/" + req.GetAlias(),
		key:   func(a *registryv1.AliasState) string { return strconv.FormatInt(a.GetRevision(), 10) },
		list: func(after string, limit int) ([]*registryv1.AliasState, error) {
			before, err := beforeRevision(after)
			if err != nil {
				return nil, err
			}
			return s.store.PromptAliasHistory(ctx, req.GetPrompt(), req.GetAlias(), before, limit)
		},
	}
	states, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListPromptAliasHistoryResponse{States: states, NextPageToken: next}, nil
}

// RollbackPromptAlias implements registryv1.RegistryServiceServer.
func (s *Server) RollbackPromptAlias(ctx context.Context, req *registryv1.RollbackPromptAliasRequest) (*registryv1.RollbackPromptAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	a, err := s.store.RollbackPromptAlias(ctx, actor(ctx), req.GetPrompt(), req.GetAlias(), store.Rollback{
		Revision: req.GetRevision(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.RollbackPromptAliasResponse{Alias: a}, nil
}

// RenderPrompt implements registryv1.RegistryServiceServer.
func (s *Server) RenderPrompt(ctx context.Context, req *registryv1.RenderPromptRequest) (*registryv1.RenderPromptResponse, error) {
	ref := req.GetVersion()
	if ref == "" {
		ref = servedPrompt
	}
	v, err := s.promptVersion(ctx, req.GetPrompt(), ref)
	if err != nil {
		return nil, err
	}
	messages, err := prompt.Render(v.GetSpec(), req.GetVariables())
	if err != nil {
		return nil, err
	}
	out := &registryv1.RenderPromptResponse{Version: v.GetNumber(), Digest: v.GetDigest()}
	for _, m := range messages {
		out.Messages = append(out.Messages, &registryv1.PromptMessage{Role: m.Role, Content: m.Content})
	}
	return out, nil
}
