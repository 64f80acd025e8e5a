package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/registry/modelsource"
)

func (a *app) importOllamaCommand() *cobra.Command {
	var cfg moving
	cmd := &cobra.Command{
		Use: "ollama DIR", Short: "Import the models of an Ollama directory (the one with manifests and blobs)", Args: exactArgs("DIR"),
		Long: `Makes a version of every model in an Ollama directory, served by llama-server from
the blob where it lies: it is read once, and held against its digest. Running it
again changes nothing. What has no place here is in the report: docs/moving-in.md.`,
		Example: "  poterne registry import ollama ~/.ollama/models --alias production --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.move(cfg, func(m *mover, opts modelsource.Options) error { return importOllama(cmd.Context(), m, args[0], opts) })
		},
	}
	cfg.bind(cmd.Flags())
	return cmd
}

func (a *app) importHuggingFaceCommand() *cobra.Command {
	var cfg moving
	var name string
	cmd := &cobra.Command{
		Use: "huggingface DIR", Short: "Import a Hugging Face directory, or all models of a hub cache", Args: exactArgs("DIR"),
		Long: `Makes a version of the model in a directory (config.json with safetensors, or GGUF
files), or of every model in a hub cache (models--organisation--name). Each file is
read once; in a cache it is held against the hash that its blob is named by. Running
it again changes nothing.`,
		Example: "  poterne registry import huggingface ~/.cache/huggingface/hub --engine sglang",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.move(cfg, func(m *mover, opts modelsource.Options) error {
				return importHub(cmd.Context(), m, args[0], name, opts)
			})
		},
	}
	cfg.bind(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "the model's name here, of a directory with one; by default the directory's")
	cmd.Flags().StringVar(&cfg.engine, "engine", "", "vllm (the default) or sglang, for safetensors")
	cmd.Flags().StringVar(&cfg.task, "task", "", "chat, embedding or rerank, where the files do not say it")
	cmd.Flags().StringVar(&cfg.file, "file", "", "the GGUF file that is meant, where there are several")
	return cmd
}

// move runs an import and prints its report.
func (a *app) move(cfg moving, run func(*mover, modelsource.Options) error) error {
	opts, err := cfg.options()
	if err != nil {
		return err
	}
	if opts.Engine != "" && opts.Engine != "vllm" && opts.Engine != "sglang" {
		return usagef("--engine must be vllm or sglang, got %q", opts.Engine)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	m := &mover{client: c, cfg: cfg, report: []any{}}
	if err := run(m, opts); err != nil {
		if len(m.report) > 0 {
			_ = m.finish(a) // what was done until then is worth knowing
		}
		return err
	}
	return m.finish(a)
}

func importOllama(ctx context.Context, m *mover, dir string, opts modelsource.Options) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	models, err := modelsource.OllamaModels(ctx, dir)
	if err != nil {
		return err
	}
	for _, model := range models {
		found, err := modelsource.ReadOllama(ctx, dir, model, opts)
		if err == nil {
			err = m.one(ctx, model.Name, strings.TrimSuffix(model.Name, ":latest"), found, map[string]string{"ollama.com/name": model.Name})
		}
		if err != nil {
			if err := m.refused(ctx, model.Name, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func importHub(ctx context.Context, m *mover, dir, name string, opts modelsource.Options) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	models, err := modelsource.HubModels(dir)
	if err != nil {
		return err
	}
	if name != "" && len(models) > 1 {
		return usagef("--name is for a directory with one model, and there are %d", len(models))
	}
	for _, model := range models {
		labels := map[string]string{}
		if model.Revision != "" {
			labels["huggingface.co/repository"], labels["huggingface.co/revision"] = model.Name, model.Revision
		}
		found, err := modelsource.Read(ctx, model.Dir, opts)
		if err == nil {
			as := model.Name
			if name != "" {
				as = name
			}
			err = m.one(ctx, model.Name, as, found, labels)
		}
		if err != nil {
			if err := m.refused(ctx, model.Name, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// one brings in a model of one version, with the aliases that were asked for.
func (m *mover) one(ctx context.Context, item, name string, found *modelsource.Found, pairs map[string]string) error {
	plain := plainModelName(name)
	if plain == "" {
		m.note(item, outcomeSkipped, "", []string{"nothing of its name is left in the form that names have here"})
		return nil
	}
	labels, notes := labelsOf(pairs)
	found.Notes = append(found.Notes, notes...)
	display := name
	if len([]rune(display)) > maxLabelValue {
		display = ""
	}
	if err := m.model(ctx, item, plain, map[string]any{"display_name": display}, nil); err != nil {
		return err
	}
	said := map[string]any{"labels": labels}
	if found.Licence != "" {
		said["licence"] = found.Licence
	}
	number, err := m.version(ctx, item+" version", plain, found, said)
	if err != nil || number == 0 {
		return err
	}
	for _, alias := range m.cfg.aliases {
		if err := m.alias(ctx, plain, alias, number); err != nil {
			return err
		}
	}
	return nil
}
