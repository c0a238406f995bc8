package main

// countryCode is the ISO 3166 code of a country as the trace names it; GB for
// one that the trace leaves open or that is not listed.
func countryCode(name string) string {
	codes := map[string]string{
		"Australia": "AU", "Austria": "AT", "Bahrain": "BH", "Belgium": "BE", "Brazil": "BR",
		"Canada": "CA", "Channel Islands": "JE", "Cyprus": "CY", "Czech Republic": "CZ",
		"Denmark": "DK", "EIRE": "IE", "Finland": "FI", "France": "FR", "Germany": "DE",
		"Greece": "GR", "Hong Kong": "HK", "Iceland": "IS", "Israel": "IL", "Italy": "IT",
		"Japan": "JP", "Lebanon": "LB", "Lithuania": "LT", "Malta": "MT", "Netherlands": "NL",
		"Norway": "NO", "Poland": "PL", "Portugal": "PT", "RSA": "ZA", "Saudi Arabia": "SA",
		"Singapore": "SG", "Spain": "ES", "Sweden": "SE", "Switzerland": "CH", "USA": "US",
		"United Arab Emirates": "AE", "United Kingdom": "GB",
	}
	if code, ok := codes[name]; ok {
		return code
	}
	return "GB"
}
