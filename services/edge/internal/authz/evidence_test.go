package authz

// evidenceMatrix says who may call what is about evidence.
func evidenceMatrix(nobody, platform, everyone string) map[string]string {
	return map[string]string{
		"RegistryService/ReportOutcomes":       nobody,
		"RegistryService/RecordFeedback":       nobody,
		"RegistryService/GetResults":           platform,
		"RegistryService/GetExperimentResults": platform,
		"RegistryService/ListFeedback":         platform,
		"FeedbackService/CreateFeedback":       everyone,
	}
}
