package cli

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// maxSpecFileSize bounds the file of a specification.
const maxSpecFileSize = 1 << 20

// addition is what `models variants add` asks for.
type addition struct {
	file, engine, description string
	artifacts, parameters     []string
	source                    string
	perplexity, of, loss      float64
	measured                  bool
}

func (a *app) modelsVariantsAddCommand() *cobra.Command {
	var v addition
	cmd := &cobra.Command{
		Use:   "add MODEL[@VERSION] VARIANT",
		Short: "Add a variant to a version: another form of the same weights",
		Long: `Adds a variant. Its specification is a file (-f, JSON or YAML, as the registry
has it), or the version's own with what --engine, --artifact and --parameter say.
An artifact takes the place of those of its role. The task, the context length, the
length of vectors and continuation are the version's: leave them out.

What a variant is never changes. Adding the same again changes nothing, or only
its quality, when one is given.`,
		Example: `  poterne models variants add smollm2-135m@v1 q8_0 --artifact ./SmolLM2-135M-Instruct.Q8_0.gguf \
    --perplexity 21.4 --source-perplexity 21.2
  poterne models variants add smollm2-135m@v1 awq -f awq.yaml --loss 0.03`,
		Args: exactArgs("MODEL[@VERSION]", "VARIANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.measured = slices.ContainsFunc([]string{"perplexity", "source-perplexity", "loss"}, cmd.Flags().Changed)
			if !v.measured && v.source != "" {
				return usagef("--source says what --perplexity or --loss was measured against: give one of them")
			}
			return a.addVariant(cmd, args[0], args[1], v)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&v.file, "file", "f", "", "the specification, as JSON or YAML; - for standard input")
	f.StringVar(&v.engine, "engine", "", "the kind of engine that serves it; empty for the version's")
	f.StringVar(&v.description, "description", "", "what it is for, for people")
	f.StringArrayVar(&v.artifacts, "artifact", nil, artifactUsage)
	f.StringArrayVar(&v.parameters, "parameter", nil, parameterUsage)
	f.Float64Var(&v.perplexity, "perplexity", 0, "its perplexity on some text; needs --source-perplexity")
	f.Float64Var(&v.of, "source-perplexity", 0, "the perplexity of what it was made from, on the same text")
	f.StringVar(&v.source, "source", "", "the variant that it was made from; empty for the version's own weights")
	f.Float64Var(&v.loss, "loss", 0, "by which share it is worse than the version's own weights (0.02 is 2 %), when no perplexity is known")
	return cmd
}

func (a *app) addVariant(cmd *cobra.Command, reference, name string, v addition) error {
	if v.file == "" && v.engine == "" && len(v.artifacts) == 0 && len(v.parameters) == 0 {
		return usagef("a variant needs a specification: -f FILE, or --engine, --artifact or --parameter for what differs from the version's")
	}
	var file map[string]any
	if v.file != "" {
		var err error
		if file, err = a.readSpec(v.file); err != nil {
			return err
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	version, err := versionOf(cmd.Context(), c, reference)
	if err != nil {
		return err
	}
	own, _ := version["spec"].(map[string]any)
	spec, err := v.spec(own, file)
	if err == nil {
		err = c.resolveArtifacts(cmd.Context(), spec)
	}
	if err != nil {
		return err
	}
	body := map[string]any{"variant": name, "spec": spec, "description": v.description}
	if v.measured {
		body["quality"] = map[string]any{
			"perplexity": v.perplexity, "source_perplexity": v.of, "source": v.source, "loss": v.loss,
		}
	}
	var out map[string]any
	if err := c.call(cmd.Context(), http.MethodPost, variantPath(version), body, &out); err != nil {
		return err
	}
	if a.settings.output != "table" {
		return a.print(out, nil)
	}
	return a.print(variantRows([]any{out}), variantColumns())
}

// readSpec reads a specification from a file. JSON is YAML, too.
func (a *app) readSpec(path string) (map[string]any, error) {
	in := a.streams.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("specification: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxSpecFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	if len(raw) > maxSpecFileSize {
		return nil, usagef("%s is over %d MiB, which no specification is", path, maxSpecFileSize>>20)
	}
	var spec map[string]any
	if err := yaml.Unmarshal(raw, &spec); err != nil {
		return nil, usagef("%s is no specification: %w", path, err)
	}
	if len(spec) == 0 {
		return nil, usagef("%s holds no specification", path)
	}
	// Engines take texts; YAML reads 99 as a number.
	if parameters, ok := spec["parameters"].(map[string]any); ok {
		for name, value := range parameters {
			parameters[name] = fmt.Sprint(value)
		}
	}
	return spec, nil
}

// spec is the variant's ModelSpec as JSON: that of the file, or the version's
// own, with what the flags say.
func (v addition) spec(own, file map[string]any) (map[string]any, error) {
	spec := maps.Clone(file)
	if file == nil {
		spec = maps.Clone(own)
	}
	for _, shared := range []string{"task", "context_length", "embedding_dimensions", "continuation"} {
		if _, said := spec[shared]; !said && own[shared] != nil {
			spec[shared] = own[shared]
		}
	}
	if v.engine != "" {
		spec["engine"] = v.engine
	}
	added, err := parseArtifacts(v.artifacts)
	if err != nil {
		return nil, err
	}
	artifacts := []any{}
	before, _ := spec["artifacts"].([]any)
	for _, old := range before {
		if !slices.ContainsFunc(added, func(a any) bool { return roleOf(a) == roleOf(old) }) {
			artifacts = append(artifacts, old)
		}
	}
	spec["artifacts"] = append(artifacts, added...)
	parameters, err := parseParameters(v.parameters)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if old, ok := spec["parameters"].(map[string]any); ok {
		maps.Copy(all, old)
	}
	maps.Copy(all, parameters)
	spec["parameters"] = all
	return spec, nil
}
