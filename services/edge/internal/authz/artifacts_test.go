package authz

// artifactCallers says who may call what of artifacts: they tell which models of
// all tenants refer to them.
func artifactCallers(want map[string]string, platform, nobody string) {
	for _, name := range []string{
		"CreateUpload", "AppendUpload", "GetUpload", "ListUploads", "ListUploadParts", "CompleteUpload", "DeleteUpload",
		"GetArtifact", "ListArtifacts", "DeleteArtifact", "CollectArtifacts",
	} {
		want["ArtifactService/"+name] = platform
	}
	want["ArtifactService/ReadArtifact"] = nobody
}
