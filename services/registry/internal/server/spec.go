package server

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// checkText refuses a text for people that has control characters other than
// line ends and tabs. PostgreSQL stores no NUL, and terminals obey the others.
func checkText(field, text string) error {
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }); i >= 0 {
		return apierr.Invalid(field, "must not hold control characters: there is one at byte %d", i)
	}
	return nil
}

// checkSpec lists what is wrong with a specification besides what the
// contract's annotations say.
func checkSpec(spec *commonv1.ModelSpec) error {
	var bad []apierr.Violation
	check := func(prefix string, artifacts []*commonv1.Artifact) {
		for i, a := range artifacts {
			if problem := uriProblem(a.GetUri()); problem != "" {
				bad = append(bad, apierr.Violation{Field: fmt.Sprintf("%s.artifacts[%d].uri", prefix, i), Description: problem})
			}
		}
	}
	check("spec", spec.GetArtifacts())
	for i, a := range spec.GetAdapters() {
		check(fmt.Sprintf("spec.adapters[%d]", i), a.GetArtifacts())
	}
	if strings.ContainsRune(spec.GetPromptTemplate(), 0) {
		bad = append(bad, apierr.Violation{Field: "spec.prompt_template", Description: "must not hold a NUL, which no program can be given"})
	}
	for name, value := range spec.GetParameters() {
		if strings.ContainsRune(value, 0) {
			bad = append(bad, apierr.Violation{
				Field: fmt.Sprintf("spec.parameters[%q]", name), Description: "must not hold a NUL, which no program can be given",
			})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return apierr.New(apierr.InvalidArgument, "%s %s", bad[0].Field, bad[0].Description).WithViolations(bad...)
}

// ownArtifact is the one way to write the URI of an artifact of the registry: what
// is written otherwise would not be noted as a reference to it.
var ownArtifact = regexp.MustCompile(`^registry://sha256/[0-9a-f]{64}$`)

// uriProblem says what is wrong with where a file is said to lie. The text
// itself is not repeated: it may hold a password.
func uriProblem(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "is not a URI"
	case u.Scheme == "":
		return "must have a scheme, such as file:///absolute/path"
	case u.User != nil:
		return "must not hold credentials: everyone who reads the registry would see them"
	case strings.EqualFold(u.Scheme, "file") && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		return "must be written file:///absolute/path"
	case strings.EqualFold(u.Scheme, "registry") && !ownArtifact.MatchString(uri):
		return "must be written registry://sha256/ and 64 hexadecimal digits"
	default:
		return remoteProblem(u)
	}
}

// remoteProblem says what is wrong with a place that workers fetch from. Other
// schemes are for workers to judge.
func remoteProblem(u *url.URL) string {
	form, known := map[string]string{
		"http": "http://host/path", "https": "https://host/path", "s3": "s3://bucket/key",
		"oci": "oci://registry/repository:tag", "hf": "hf://organisation/name@revision/path",
	}[u.Scheme]
	web := u.Scheme == "http" || u.Scheme == "https"
	switch {
	case !known:
		return ""
	case u.Host == "" || strings.Trim(u.Path, "/") == "" || strings.HasSuffix(u.Path, "/"):
		return "must be written " + form
	case !web && u.RawQuery != "":
		return "must not have a query"
	}
	for name := range u.Query() {
		switch strings.ToLower(name) {
		case "x-amz-signature", "x-amz-security-token", "x-goog-signature", "signature", "sig", "token", "access_token", "api_key", "apikey", "key", "password":
			return "must not hold credentials: everyone who reads the registry would see them"
		}
	}
	return ""
}
