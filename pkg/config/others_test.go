package config

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What the scripts export must not stop a service that is started beside them.
func TestTheScriptsVariablesAreKnown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "scripts", "components", "*.sh"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	names := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`POTERNE_[A-Z][A-Z0-9_]*[A-Z0-9]`).FindAllString(string(text), -1) {
			names++
			if !otherName(name, "/somewhere") {
				t.Errorf("%s: %s is taken for a misspelt setting", filepath.Base(file), name)
			}
		}
	}
	if names < 10 {
		t.Errorf("only %d names were found", names)
	}
}

func TestRefuseUnknown(t *testing.T) {
	var p Problems
	RefuseUnknown(&p, []string{"POTERNE_URL=http://gate", "POTERNE_LLAMA_SERVER=/bin/llama-server", "POTERNE_EDGE_PORT=tcp://10.0.0.1:8080", "HOME=/"})
	if err := p.Err(); err != nil {
		t.Errorf("names of other programs: %v", err)
	}
	RefuseUnknown(&p, []string{"POTERNE_FOO_BAR=1", "POTERNE_GRPC_ADDR=h:1"})
	if err := p.Err(); err == nil || err.Error() != "the configuration has 2 problems:"+
		"\n  environment: POTERNE_FOO_BAR: is not a setting\n  environment: POTERNE_GRPC_ADDR: is not a setting" {
		t.Errorf("unknown names: %v", err)
	}
}
