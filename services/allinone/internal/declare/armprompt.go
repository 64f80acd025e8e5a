package declare

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// armPrompt is the prompt that an arm names besides its version, as the command line
// writes it: PROMPT@v3 or PROMPT@ALIAS, production where nothing is said; "" is none.
type armPrompt string

var (
	armPromptForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}(@[a-z0-9][a-z0-9._-]{0,62})?$`)
	// An alias may be named 2, and not v2.
	promptNumber = regexp.MustCompile(`^v[1-9][0-9]{0,8}$`)
)

// wrong says what is wrong with it; "" is nothing.
func (p armPrompt) wrong() string {
	if p == "" || armPromptForm.MatchString(string(p)) {
		return ""
	}
	return "prompt must be PROMPT, PROMPT@v3 or PROMPT@ALIAS"
}

// UnmarshalJSON reads the reference that the registry gives.
func (p *armPrompt) UnmarshalJSON(raw []byte) error {
	var there struct {
		Prompt  string `json:"prompt"`
		Version int    `json:"version"`
		Alias   string `json:"alias"`
	}
	if err := json.Unmarshal(raw, &there); err != nil {
		return fmt.Errorf("prompt of an arm: %w", err)
	}
	switch {
	case there.Prompt == "":
		*p = ""
	case there.Alias != "":
		*p = armPrompt(there.Prompt + "@" + there.Alias)
	default:
		*p = armPrompt(fmt.Sprintf("%s@v%d", there.Prompt, there.Version))
	}
	return nil
}

// named is what it names: number is 0 where an alias says which.
func (p armPrompt) named() (prompt string, number int, alias string) {
	prompt, alias, _ = strings.Cut(string(p), "@")
	switch {
	case alias == "":
		alias = "production"
	case promptNumber.MatchString(alias):
		number, _ = strconv.Atoi(strings.TrimPrefix(alias, "v"))
		alias = ""
	}
	return prompt, number, alias
}

// whole is p with nothing left out, to be compared.
func (p armPrompt) whole() armPrompt {
	if p == "" {
		return ""
	}
	prompt, number, alias := p.named()
	if alias != "" {
		return armPrompt(prompt + "@" + alias)
	}
	return armPrompt(fmt.Sprintf("%s@v%d", prompt, number))
}

// shown adds it to an arm as people compare it.
func (p armPrompt) shown(arm map[string]any) map[string]any {
	if p != "" {
		arm["prompt"] = p.whole()
	}
	return arm
}

// sent adds it to an arm as the API takes it.
func (p armPrompt) sent(arm map[string]any) map[string]any {
	if p == "" {
		return arm
	}
	prompt, number, alias := p.named()
	if alias != "" {
		arm["prompt"] = map[string]any{"prompt": prompt, "alias": alias}
	} else {
		arm["prompt"] = map[string]any{"prompt": prompt, "version": number}
	}
	return arm
}
