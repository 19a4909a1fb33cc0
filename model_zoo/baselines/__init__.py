"""The models of the two student projects, and ALeRCE's stamp classifier."""
