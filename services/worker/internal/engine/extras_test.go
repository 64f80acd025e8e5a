package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func adapted(engine string, scale float64, adapters ...[]File) Model {
	spec := &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: engine, PromptTemplate: "{{ messages }}"}
	for range adapters {
		spec.Adapters = append(spec.Adapters, &commonv1.Adapter{Scale: scale})
	}
	return Model{Name: "m@v1", Spec: spec, Adapters: adapters}
}

func TestLlamaIsToldOfTemplateAndAdapters(t *testing.T) {
	help := "--chat-template X\n--lora-scaled FNAME SCALE\n"
	together := "--chat-template X\n" + llamaScaledTogether + ",...\n"
	a, b := []File{{Path: "/a.gguf"}}, []File{{Path: "/b.gguf"}}
	tests := map[string]struct {
		help   string
		model  Model
		want   string
		reason apierr.Reason
	}{
		"two arguments": {help, adapted(KindLlamaServer, 0.5, a, b), "--chat-template {{ messages }} --lora-scaled /a.gguf 0.5 --lora-scaled /b.gguf 0.5", ""},
		"one argument":  {together, adapted(KindLlamaServer, 0, a), "--chat-template {{ messages }} --lora-scaled /a.gguf:1", ""},
		"a colon":       {together, adapted(KindLlamaServer, 1, []File{{Path: "/a:b"}}), "", apierr.InvalidArgument},
		"two files":     {help, adapted(KindLlamaServer, 1, []File{{Path: "/a"}, {Path: "/b"}}), "", apierr.InvalidArgument},
		"no adapters":   {"--chat-template X", adapted(KindLlamaServer, 1, a), "", apierr.FailedPrecondition},
		"no template":   {"nothing", adapted(KindLlamaServer, 1), "", apierr.FailedPrecondition},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := NewLlama(LlamaConfig{Program: &Program{argv: []string{"llama-server"}, help: tt.help}})
			got, err := l.extras(t.Context(), tt.model)
			if apierr.ReasonOf(err) != tt.reason || strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestVLLMServesTheAdapterUnderTheName(t *testing.T) {
	v := NewVLLM(GPUServerConfig{})
	args, served, err := v.extras(adapted(KindVLLM, 0, []File{{Path: "/lora/a"}, {Path: "/lora/b"}}))
	want := []string{"--chat-template={{ messages }}", "--enable-lora", "--lora-modules=m@v1=/lora"}
	if err != nil || served != "m@v1-base" || !slices.Equal(args, want) {
		t.Errorf("got %q, %q, %v", args, served, err)
	}
	if _, served, _ = v.extras(adapted(KindVLLM, 0)); served != "m@v1" {
		t.Errorf("without an adapter it is served as %q", served)
	}
	for name, m := range map[string]Model{
		"two":             adapted(KindVLLM, 0, []File{{Path: "/a/x"}}, []File{{Path: "/b/x"}}),
		"a scale":         adapted(KindVLLM, 2, []File{{Path: "/a/x"}}),
		"two directories": adapted(KindVLLM, 0, []File{{Path: "/a/x"}, {Path: "/b/x"}}),
	} {
		if _, _, err := v.extras(m); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExtrasThatWouldBeLeftOut(t *testing.T) {
	for engine, takes := range map[string]bool{KindLlamaServer: true, KindVLLM: true, KindSim: false, KindOllama: false, KindSGLang: false} {
		if err := CheckExtras(&commonv1.ModelSpec{Engine: engine, PromptTemplate: "{{ x }}"}); (err == nil) != takes {
			t.Errorf("%s, a template: %v", engine, err)
		}
		if err := CheckExtras(&commonv1.ModelSpec{Engine: engine, Adapters: []*commonv1.Adapter{{}}}); (err == nil) != takes {
			t.Errorf("%s, an adapter: %v", engine, err)
		}
	}
	if err := CheckExtras(&commonv1.ModelSpec{Engine: KindVLLM, PromptTemplate: "/etc/passwd"}); err == nil {
		t.Error("a path is taken for a template")
	}
}
