"""`estampa deadletters`: dead letters listed, shown, exported and put through the pipeline again."""
