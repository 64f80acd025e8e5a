package engine

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// CheckExtras refuses a prompt template or adapters where the engine would leave
// them out: the version would answer as another one.
func CheckExtras(spec *commonv1.ModelSpec) error {
	takes := spec.GetEngine() == KindLlamaServer || spec.GetEngine() == KindVLLM
	template := spec.GetPromptTemplate()
	switch {
	case template != "" && !takes:
		return apierr.Invalid("spec.prompt_template", "engine %s takes no prompt template", spec.GetEngine())
	case template != "" && !strings.Contains(template, "{{") && !strings.Contains(template, "{%"):
		// Engines would take it for the name of a template of their own, or of a file.
		return apierr.Invalid("spec.prompt_template", "must be a template in Jinja: there is neither {{ nor {%% in it")
	case len(spec.GetAdapters()) > 0 && !takes:
		return apierr.Invalid("spec.adapters", "engine %s takes no adapters", spec.GetEngine())
	}
	return nil
}

// scaleOf is how strongly an adapter counts.
func scaleOf(a *commonv1.Adapter) float64 {
	if a.GetScale() == 0 {
		return 1
	}
	return a.GetScale()
}

// llamaScaledTogether is how builds show the flag that want the file and its scale
// in one argument, with a colon between them.
const llamaScaledTogether = "--lora-scaled FNAME:SCALE"

// extras are llama-server's arguments for the template and the adapters
// (common/arg.cpp).
func (l *Llama) extras(ctx context.Context, m Model) ([]string, error) {
	var args []string
	if t := m.Spec.GetPromptTemplate(); t != "" {
		if !l.cfg.Program.knows(ctx, "chat-template") {
			return nil, apierr.New(apierr.FailedPrecondition, "this worker's llama-server takes no prompt template").WithField("spec.prompt_template")
		}
		args = append(args, "--chat-template", t)
	}
	for i, files := range m.Adapters {
		field := "spec.adapters[" + strconv.Itoa(i) + "].artifacts"
		if len(files) != 1 {
			return nil, apierr.Invalid(field, "an adapter for llama-server is one GGUF file")
		}
		if !l.cfg.Program.knows(ctx, "lora-scaled") {
			return nil, apierr.New(apierr.FailedPrecondition, "this worker's llama-server takes no adapters").WithField("spec.adapters")
		}
		path, scale := files[0].Path, strconv.FormatFloat(scaleOf(m.Spec.GetAdapters()[i]), 'g', -1, 64)
		if !strings.Contains(l.cfg.Program.helpText(), llamaScaledTogether) {
			args = append(args, "--lora-scaled", path, scale)
			continue
		}
		if strings.ContainsAny(path, ":,") {
			return nil, apierr.Invalid(field, "the path of an adapter must hold neither a colon nor a comma, which part arguments of llama-server")
		}
		args = append(args, "--lora-scaled", path+":"+scale)
	}
	return args, nil
}

// extras are vLLM's arguments for the template and the adapter, and the name under
// which the base model is served. With an adapter that is another name, so that
// nobody asks for the model without it by mistake (vllm/entrypoints/openai/cli_args.py).
func (v *VLLM) extras(m Model) (args []string, served string, err error) {
	served = m.Name
	if t := m.Spec.GetPromptTemplate(); t != "" {
		args = append(args, "--chat-template="+t)
	}
	switch len(m.Adapters) {
	case 0:
		return args, served, nil
	case 1:
	default:
		return nil, "", apierr.Invalid("spec.adapters", "vLLM serves a model with one adapter")
	}
	if scaleOf(m.Spec.GetAdapters()[0]) != 1 {
		return nil, "", apierr.Invalid("spec.adapters[0].scale", "must be 1 for vLLM, which reads it from the adapter's own configuration")
	}
	files := m.Adapters[0]
	dir := filepath.Dir(files[0].Path)
	if slices.ContainsFunc(files, func(f File) bool { return filepath.Dir(f.Path) != dir }) {
		return nil, "", apierr.Invalid("spec.adapters[0].artifacts", "must be in one directory")
	}
	return append(args, "--enable-lora", "--lora-modules="+m.Name+"="+dir), m.Name + "-base", nil
}
