"""OAI-PMH 2.0: arguments, tokens, sets, formats and the answers. `services.protocols.oai_pmh` has the address.

Source: https://www.openarchives.org/OAI/openarchivesprotocol.html
"""
