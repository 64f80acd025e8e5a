package modelsource

import (
	"context"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

const maxArtifacts = 64 // of a specification

// hfConfig is what is read of a config.json.
type hfConfig struct {
	Architectures []string `json:"architectures"`
	Context       int32    `json:"max_position_embeddings"`
	Hidden        int32    `json:"hidden_size"`
}

// transformer reads a directory of safetensors with configuration and tokeniser,
// below prefix.
func (r *reader) transformer(ctx context.Context, prefix string) (*Found, error) {
	raw, err := r.text(ctx, prefix+"config.json")
	if err != nil {
		return nil, err
	}
	var c hfConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, notServed("config.json cannot be read: %s", firstLine(err.Error()))
	}
	spec := &commonv1.ModelSpec{Engine: r.opts.Engine, Task: r.opts.Task}
	if spec.GetEngine() == "" {
		spec.Engine = "vllm"
	}
	if spec.GetTask() == commonv1.Task_TASK_UNSPECIFIED {
		if spec.Task = r.taskOf(c, prefix); spec.GetTask() == commonv1.Task_TASK_UNSPECIFIED {
			return nil, notServed("what the architecture %s is for is not known: say it with --task", strings.Join(c.Architectures, ", "))
		}
	}
	if spec.GetTask() == commonv1.Task_TASK_EMBEDDING {
		spec.EmbeddingDimensions = c.Hidden
	}
	if c.Context > 0 && c.Context <= 1<<24 {
		spec.ContextLength = c.Context
	}
	found := &Found{Spec: spec}
	if err := r.checkShards(ctx, prefix); err != nil {
		return nil, err
	}
	if err := r.transformerFiles(ctx, prefix, found); err != nil {
		return nil, err
	}
	found.Licence = r.licence(ctx, prefix)
	return found, nil
}

func (r *reader) taskOf(c hfConfig, prefix string) commonv1.Task {
	for _, a := range c.Architectures {
		switch {
		case r.has(prefix + "modules.json"): // of Sentence Transformers
			return commonv1.Task_TASK_EMBEDDING
		case strings.HasSuffix(a, "ForCausalLM"), strings.HasSuffix(a, "ForConditionalGeneration"), strings.HasSuffix(a, "LMHeadModel"):
			return commonv1.Task_TASK_CHAT
		case strings.HasSuffix(a, "ForSequenceClassification"):
			return commonv1.Task_TASK_RERANK
		case strings.HasSuffix(a, "BertModel"), strings.HasSuffix(a, "RobertaModel"):
			return commonv1.Task_TASK_EMBEDDING
		}
	}
	return commonv1.Task_TASK_UNSPECIFIED
}

// checkShards refuses a directory that lacks files which its index names.
func (r *reader) checkShards(ctx context.Context, prefix string) error {
	name := prefix + "model.safetensors.index.json"
	if !r.has(name) {
		return nil
	}
	raw, err := r.text(ctx, name)
	if err != nil {
		return err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return notServed("%s cannot be read: %s", name, firstLine(err.Error()))
	}
	for _, shard := range index.Map {
		if !r.has(prefix + shard) {
			return notServed("%s names %s, which is not there: the directory is not whole", name, shard)
		}
	}
	return nil
}

// transformerFiles lists every file that engines read. What they do not read (a
// README, other frameworks' weights, Python) stays out, and is noted.
func (r *reader) transformerFiles(ctx context.Context, prefix string, found *Found) error {
	for _, f := range r.files {
		rel, ok := strings.CutPrefix(f.Path, prefix)
		if !ok {
			continue
		}
		role := hfRole(rel)
		if role == "" {
			if ext := path.Ext(rel); ext == ".py" {
				found.note("%s is Python of its own, which is not run here", rel)
			}
			continue
		}
		a, err := r.artifact(ctx, f, role)
		if err != nil {
			return err
		}
		if found.Spec.Artifacts = append(found.Spec.Artifacts, a); len(found.Spec.GetArtifacts()) > maxArtifacts {
			return notServed("it has more than %d files, as many as a specification names", maxArtifacts)
		}
		if path.Dir(rel) != "." {
			a.Name = rel
		}
	}
	return nil
}

// hfRole is what a file is for; "" for those that engines do not read.
func hfRole(name string) string {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(name, ".") || strings.HasPrefix(name, "original/") || strings.HasPrefix(name, "onnx/"):
		return ""
	case strings.HasSuffix(base, ".safetensors"):
		return "weights"
	case slices.Contains([]string{"vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", "spiece.model"}, base),
		strings.HasPrefix(base, "tokenizer"):
		return "tokenizer"
	case strings.HasSuffix(base, ".json"):
		return "runtime"
	default:
		return ""
	}
}

var licenceLine = regexp.MustCompile(`(?m)^license:[ \t]*["']?([A-Za-z0-9.+_-]{1,64})["']?[ \t]*$`)

// licence is what the card's front matter says.
func (r *reader) licence(ctx context.Context, prefix string) string {
	f, ok := r.file(prefix + "README.md")
	if !ok || f.Size > maxText {
		return ""
	}
	raw, err := r.text(ctx, f.Path)
	if err != nil || !strings.HasPrefix(string(raw), "---") {
		return ""
	}
	head, _, _ := strings.Cut(strings.TrimPrefix(string(raw), "---"), "\n---")
	if m := licenceLine.FindStringSubmatch(head); m != nil {
		return m[1]
	}
	return ""
}
