package cli

import (
	"fmt"
	"strings"
)

// cutPrompt takes `+PROMPT[@VERSION]` out of VERSION+PROMPT@VERSION:PERCENT, which is
// how an arm names a prompt; nil when it names none. VERSION is a number (v3) or an
// alias, production where none is said.
func cutPrompt(text string) (rest string, prompt map[string]any, err error) {
	served, percent, weighed := strings.Cut(text, ":")
	served, named, ok := strings.Cut(served, "+")
	if !ok {
		return text, nil, nil
	}
	if rest = served; weighed {
		rest += ":" + percent
	}
	name, version, _ := strings.Cut(named, "@")
	if name == "" {
		return "", nil, usagef("a prompt must be PROMPT, PROMPT@v3 or PROMPT@ALIAS, got %q", named)
	}
	prompt = map[string]any{"prompt": name}
	if number, err := versionNumber(version); err == nil {
		prompt["version"] = number
	} else if prompt["alias"] = version; version == "" {
		prompt["alias"] = "production"
	}
	return rest, prompt, nil
}

// promptOf is the prompt that an arm names, as cutPrompt reads it; "" for none.
func promptOf(arm any) string {
	name, _ := lookup(arm, "prompt.prompt").(string)
	if name == "" {
		return ""
	}
	if alias, _ := lookup(arm, "prompt.alias").(string); alias != "" {
		return name + "@" + alias
	}
	return fmt.Sprintf("%s@v%v", name, lookup(arm, "prompt.version"))
}
