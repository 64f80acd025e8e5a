// Package ruleset is the OWASP core rule set, run by Coraza, as an engine of the
// firewall. Only poterne-edge links it. Start reading at Open.
package ruleset

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/poterne/poterne/services/edge/internal/firewall"
)

// The ids of rules that only set up, decide which others run, or compare the score
// with the threshold. Those of ours begin at ownRules.
const (
	ownRules     = 199000
	firstFinding = 911000
	lastFinding  = 948999
)

// Engine judges by the core rule set. It is safe for concurrent use.
type Engine struct{ waf coraza.WAF }

// Open compiles the rules, which takes a fraction of a second.
func Open(cfg firewall.Config) (firewall.Engine, error) {
	further := ""
	if cfg.DirectivesFile != "" {
		raw, err := os.ReadFile(cfg.DirectivesFile)
		if err != nil {
			return nil, fmt.Errorf("waf.directives_file: %w", err)
		}
		further = string(raw)
	}
	text, err := directives(cfg, further)
	if err != nil {
		return nil, err
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(text))
	if err != nil {
		return nil, fmt.Errorf("waf: compile the rules: %w", err)
	}
	return &Engine{waf: waf}, nil
}

// settings begin the directives. Responses are not looked at: what this gateway
// answers is JSON of its own making.
const settings = `
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecAuditEngine Off
SecRequestBodyLimit %[1]d
SecRequestBodyInMemoryLimit %[1]d
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 128
SecArgumentsLimit %[1]d
SecDefaultAction "phase:1,log,noauditlog,pass"
SecDefaultAction "phase:2,log,noauditlog,pass"
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:199001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:199002,phase:2,t:none,log,deny,status:403,msg:'The body cannot be read',severity:2"
SecAction "id:199003,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=4250,\
  setvar:tx.blocking_paranoia_level=%[2]d,\
  setvar:tx.inbound_anomaly_score_threshold=%[3]d,\
  setvar:tx.crs_skip_response_analysis=1,\
  setvar:'tx.allowed_methods=GET HEAD POST PUT PATCH DELETE OPTIONS',\
  setvar:'tx.allowed_request_content_type=|application/json| |application/octet-stream| |application/x-ndjson| |application/jsonl| |application/offset+octet-stream|',\
  setvar:'tx.restricted_headers_basic=/content-encoding/ /proxy/ /lock-token/ /content-range/ /if/ /x-http-method-override/ /x-http-method/ /x-method-override/ /x-middleware-subrequest/'"
`

// natural is what the core rule set takes amiss that is natural here: paths are
// ids, which may end or begin as file names do (920440, 920500, 930130); callers may
// name the gateway by its address (920350); programs need send no Accept (920300).
// A filter is an expression in AIP-160, with quotes and AND, that is parsed
// strictly and never becomes part of a query's text. What somebody searches for may
// begin with a word that is a command too, and a description is text with
// semicolons.
const natural = `
SecRuleRemoveById 920300 920350 920440 920500
SecRuleUpdateTargetById 930130 "!REQUEST_FILENAME"
SecRuleUpdateTargetById 942000-942999 "!ARGS:filter"
SecRuleUpdateTargetById 942000-942999 "!ARGS:json.filter"
SecRuleUpdateTargetById 932250 "!ARGS:json.query"
SecRuleUpdateTargetById 932260 "!ARGS:json.query"
SecRuleUpdateTargetById 942350 "!ARGS:json.description"
`

func directives(cfg firewall.Config, further string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, settings, int(cfg.MaxBodyBytes), cfg.Paranoia, cfg.Threshold)
	for i, e := range cfg.Exclusions {
		exclusion(&b, ownRules+100+i, e)
	}
	b.WriteString(further + "\n")
	files, err := fs.Glob(coreruleset.FS, "@owasp_crs/REQUEST-*.conf")
	if err != nil {
		return "", fmt.Errorf("waf: list the rules: %w", err)
	}
	for _, f := range files {
		switch path.Base(f) {
		case "REQUEST-922-MULTIPART-ATTACK.conf", "REQUEST-905-COMMON-EXCEPTIONS.conf":
			continue // no path takes multipart; no Apache talks to itself here
		}
		b.WriteString("Include " + f + "\n")
	}
	b.WriteString(natural)
	return b.String(), nil
}

// exclusion writes e as a rule; Config.Validate has looked at what it is made of.
func exclusion(b *strings.Builder, id int, e firewall.Exclusion) {
	var actions []string
	for _, rule := range e.Rules {
		if len(e.Targets) == 0 {
			actions = append(actions, "ctl:ruleRemoveById="+rule)
		}
		for _, target := range e.Targets {
			actions = append(actions, "ctl:ruleRemoveTargetById="+rule+";"+target)
		}
	}
	what := fmt.Sprintf("id:%d,phase:1,pass,nolog,t:none,%s", id, strings.Join(actions, ","))
	if len(e.Routes) == 0 {
		fmt.Fprintf(b, "SecAction \"%s\"\n", what)
		return
	}
	fmt.Fprintf(b, "SecRule UNIQUE_ID \"@within |%s|\" \"%s\"\n", strings.Join(e.Routes, "|"), what)
}

// Judge runs the rules of both request phases. Nothing is kept between requests.
func (e *Engine) Judge(r firewall.Request) (v firewall.Verdict, err error) {
	tx := e.waf.NewTransactionWithID("|" + r.Route + "|")
	defer func() {
		if cerr := tx.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("waf: %w", cerr)
		}
	}()
	tx.ProcessURI(r.URI, r.Method, r.Proto)
	for _, h := range r.Header {
		tx.AddRequestHeader(h.Name, h.Value)
	}
	tx.ProcessRequestHeaders()
	if !tx.IsInterrupted() && len(r.Body) > 0 {
		if _, _, err := tx.WriteRequestBody(r.Body); err != nil {
			return v, fmt.Errorf("waf: %w", err)
		}
	}
	if !tx.IsInterrupted() {
		if _, err := tx.ProcessRequestBody(); err != nil {
			return v, fmt.Errorf("waf: %w", err)
		}
	}
	v.Block = tx.IsInterrupted()
	for _, m := range tx.MatchedRules() {
		if m.Message() != "" && finds(m.Rule().ID()) {
			v.Rules = append(v.Rules, m.Rule().ID())
		}
	}
	if i := tx.Interruption(); i != nil && finds(i.RuleID) && !slices.Contains(v.Rules, i.RuleID) {
		v.Rules = append(v.Rules, i.RuleID)
	}
	return v, nil
}

// finds reports whether a rule looks for something in the request itself.
func finds(id int) bool { return id < 901000 || id >= firstFinding && id <= lastFinding }
