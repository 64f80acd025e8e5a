package fakes

import (
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Prompt is a prompt of one system message a version, with the variables that are
// declared: those that begin with an exclamation mark must be given. Its alias
// production names the last version.
func Prompt(name string, variables []string, contents ...string) *registryv1.PromptState {
	p := &registryv1.PromptState{Prompt: &registryv1.Prompt{Name: name, VersionCount: int32(len(contents))}}
	var declared []*registryv1.PromptVariable
	for _, v := range variables {
		one := &registryv1.PromptVariable{Name: v}
		if v[0] == '!' {
			one.Name, one.Required = v[1:], true
		}
		declared = append(declared, one)
	}
	for i, content := range contents {
		p.Versions = append(p.Versions, &registryv1.PromptVersion{
			Prompt: name, Number: int32(i + 1), Digest: Digest(name + content),
			Spec: &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "system", Content: content}}, Variables: declared},
		})
	}
	p.Prompt.Aliases = []*registryv1.PromptAlias{{Prompt: name, Name: "production", Version: int32(len(contents))}}
	return p
}

// SplitPrompt adds an arm that names a prompt.
func SplitPrompt(arm string, version, weight int, ref *registryv1.PromptReference) Change {
	return func(m *registryv1.ModelState) {
		Split(arm, version, weight)(m)
		m.Split.Arms[len(m.GetSplit().GetArms())-1].Prompt = ref
	}
}
